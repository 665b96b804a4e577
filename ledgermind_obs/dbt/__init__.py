"""What dbt reads, writes and is: project, profiles, manifest, artifacts, log, process."""
