"""What people are told of: in the app, by push, by e-mail and by SMS, as they wish and at the time they wish."""
