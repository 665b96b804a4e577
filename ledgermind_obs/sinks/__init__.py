"""Where series go, without losing what is known there."""
