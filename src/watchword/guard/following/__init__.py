"""Follows the service: fetches keys and revocations in the background and keeps them in memory.

    follow       turns the options into a follower
    follower     says when to fetch, and whether requests may go on
    awake        knows whether this process was suspended since the last news
    workers      the threads of this process
    worker       one thread: a turn, a pause, a turn
    waiting      lets requests wait for something under way
    key_source   finds the key set, and says when to fetch it again
    feed         reads the list of revocations, page by page
    exchange     a fetch and its answer, as plain values
    http_client  does a fetch
    addresses    says which addresses may be asked
    events       reports to the log and to `on_event`

`key_source`, `feed` and `awake` are rules: they know no thread and no socket.
"""
