"""What a fleet of clusters costs: from the click to the verified run, beside bare calls."""
