"""Follows the service: fetches keys and revocations in the background, or on requests.

    follow        makes a follower of the options
    follower      decides when to fetch, and whether requests may go on
    on_request    does so without threads: a request asks when it has to
    awake         notices that this process was suspended
    workers       the threads of this process
    worker        one thread
    waiting       lets requests wait
    key_source    finds the keys
    feed          reads the revocations
    exchange      a fetch and its answer
    flight        lets one request ask for all others
    key_exchange  exchanges API keys for access tokens
    http_client   does a fetch
    addresses     the addresses that may be asked
    events        reports to the log and `on_event`

`key_source`, `feed` and `awake` know no thread and no socket.
"""
