"""From a study to records: plan, packs, jobs, engines."""
