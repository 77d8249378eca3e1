"""The status page as values and HTML: what an on-call person needs to see in five seconds.

Rule 1: pure: values and the time go in, HTML comes out; aiohttp, clocks and sockets are in the package above.
Rule 2: only `markup` makes HTML, and it escapes everything else.
Rule 3: one function renders each element, for the page, for its updates and for a target's own page.
Rule 4: sentences about a failure come from `report`. Rule 5: links are relative, so that the page works under any
prefix; nothing is loaded from elsewhere.

`values` what the page shows · `document` the page and its headline · `target` a target's line and card · `sessions` the
last session and failures · `held` the held connection · `pictures` SVG · `timefmt` times and ages · `markdown` runbook
pages · `markup` HTML.
"""
