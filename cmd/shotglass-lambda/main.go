// Command shotglass-lambda contains AWS principals and resources when an SNS message asks for it: the Lambda function that
// succeeds Vectra's entity lockdown. docs/lockdown.md says how it is set up.
//
// It returns an error whenever what was asked for is not done, for whatever reason, so that Lambda delivers the message
// again and puts it into the dead-letter queue in the end. That is safe: a containment that was begun is
// gone on with by its journal, and one that is done is verified.
package main

import (
	"context"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
)

// version is set when the program is built.
var version = "devel"

func main() {
	lambda.Start(start(context.Background(), os.Getenv, os.Stdout))
}
