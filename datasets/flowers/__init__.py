"""Five kinds of flowers, photographed and drawn."""
