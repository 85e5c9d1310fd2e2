"""The fleet as a drawing: hosts in their networks, and an arrow for each row of the policy.

Every drawing is a pure function of the fleet.

CLI: python -m salina_fleet.map     prints the picture of the repository's own topology (make map)
"""
