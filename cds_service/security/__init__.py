"""Who may call: the EHRs that the site trusts, told by their tokens."""
