"""What a cycle publishes: dataset, amounts, GeoTIFF, animation, and how it is read again."""
