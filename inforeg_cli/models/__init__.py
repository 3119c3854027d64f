"""The network: encoders, a fusion of their features, and the late-fusion model that joins the two."""
