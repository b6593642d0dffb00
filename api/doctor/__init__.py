"""`dosewright doctor`: whether the machine and a site on it are fit for work, and what to do where they are not.

Facts are gathered by the modules `gather_…`, which touch the machine and change nothing on it; what they mean is judged by pure
modules, one a subject, which are given the facts and the time.
"""
