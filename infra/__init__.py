"""CDK stacks that put the catalogue into AWS."""
