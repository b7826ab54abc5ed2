// Package awsconfig is what the services of containment have in common towards AWS's SDK.
package awsconfig
