"""Run a study: plan, packs, jobs, engines."""
