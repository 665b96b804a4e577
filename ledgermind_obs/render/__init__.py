"""Every form in which something is shown: functions that return text."""
