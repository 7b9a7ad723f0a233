"""Pages for people. Start at `pages`.

pages       what every page shares: static files, words, the content security policy
workbench   the page that plays an EHR (only on a loopback host)
words.yaml  every word of every page
"""
