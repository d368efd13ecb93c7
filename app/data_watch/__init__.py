"""Watches the data: its quality and its drift, window by closed window. A role of the monitor process.

`role` and what it imports load scipy, which web workers must not; `reading` does not.
"""
