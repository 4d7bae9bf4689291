"""The page's client up to the screen: real browsers, behind real proxies of every kind that holds something up."""
