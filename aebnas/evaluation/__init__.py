"""From a job to a Trial: inherited weights, exit tables, operating points, in this process or on Ray."""
