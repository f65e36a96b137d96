"""``make bench``: what Remote Flame costs, beside what there is to compare it with, in one run on one machine.

Every peer has a server in a process of its own and a client in another, so that the threads of none disturb the next.
A *measurement* gives figures for one or more *rows*; it is made with each peer in turn, round after round, and the
median of the rounds counts. Only ratios within one run carry over to other machines.
"""
