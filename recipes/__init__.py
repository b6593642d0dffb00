"""What may be printed: recipes, doses, shapes, tool paths and their proof."""
