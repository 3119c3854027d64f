"""Reports: reads run folders, and knows neither the engine nor the methods that filled them."""
