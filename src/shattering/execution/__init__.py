"""Execution: plan, run, resume. The only place where the stages are joined."""
