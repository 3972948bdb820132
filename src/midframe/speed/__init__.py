"""How fast it is here: inference, operators, reading, models' cost. Training: `engine.speed`."""
