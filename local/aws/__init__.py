"""The AWS emulator of the local stack: moto's services made durable, and an SQS twin, behind one port."""
