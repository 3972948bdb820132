"""Reports of results: tables in Markdown, csv and LaTeX, and one page to look at them."""
