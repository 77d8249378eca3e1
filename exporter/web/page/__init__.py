"""The status page as values and HTML: what an on-call person wants to see in five seconds.

Rule 1: pure: values and the time go in, HTML comes out; aiohttp, clocks and sockets stand one folder up.
Rule 2: HTML is made by `markup` alone, which escapes whatever it is not itself the maker of.
Rule 3: a thing is rendered by one function, for the page, for its updates and for a target's own page alike.
Rule 4: no sentence of its own about a failure: they are `report`'s. Rule 5: every link is relative, so that the page
works behind any prefix; nothing comes from elsewhere.
"""
