"""What happens from frame to frame? A source's scene holds its tracks, zones and lines, and outlives a lease.

May import the ground (errors), `vision` (detections), `storing` (where states are kept) and `contract`.
"""
