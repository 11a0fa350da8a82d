"""Tests of the CDK stacks."""
