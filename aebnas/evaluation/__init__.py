"""From a job to a Trial: inherited weights, exit tables and operating points, in this process or on Ray."""
