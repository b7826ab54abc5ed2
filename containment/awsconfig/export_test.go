package awsconfig

// Bounded is for tests of less patience.
var Bounded = bounded
