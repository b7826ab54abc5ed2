package evidencebucket

import _ "embed"

// Template is CloudFormation's for the same bucket.
//
//go:embed template.yaml
var Template string
