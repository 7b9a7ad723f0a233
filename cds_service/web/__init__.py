"""Pages for people. Start at `pages`.

pages       what every page shares: static files, words, the content security policy
workbench   the page that plays an EHR (only on a loopback host)
chart       results and therapy over time: chart_data what it shows, chart_drawing where that stands
smart       the same page as an app that EHRs launch
governance  rules in use, changes of the site, feedback, gaps
visitors    who may look at what knows no password
page_words  a site's own words before the shipped ones
words.yaml  every word of every page
"""
