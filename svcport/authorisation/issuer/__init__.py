"""The vendor's side: certificates, tickets and EPOCH statements, judged, signed and logged."""
