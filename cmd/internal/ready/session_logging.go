package ready

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// sessionPreferences is the document that Session Manager's preferences are kept in.
const sessionPreferences = "SSM-SessionManagerRunShell"

var sessionLogging = Check{
	ID: "session-logging", Title: "what is typed in sessions of Session Manager is logged",
	Why:      "CloudTrail says that a session was opened, not what was done in it. It is also how attackers use stolen credentials on instances.",
	Severity: Low,
	Fix:      "aws ssm update-document --name SSM-SessionManagerRunShell --document-version '$LATEST' --content file://preferences.json --region {region}, with s3BucketName or cloudWatchLogGroupName set",
	Actions:  []string{"ssm:GetDocument"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		out, err := ssm.NewFromConfig(s.Config).GetDocument(ctx, &ssm.GetDocumentInput{Name: aws.String(sessionPreferences)})
		if awsconfig.Code(err) == "InvalidDocument" {
			return []Finding{fail(s.Region, "nobody has set preferences, and by default nothing is logged")}, nil
		}
		if err != nil {
			return nil, err
		}
		var doc struct {
			Inputs struct {
				Bucket string `json:"s3BucketName"`
				Group  string `json:"cloudWatchLogGroupName"`
			} `json:"inputs"`
		}
		if err := json.Unmarshal([]byte(aws.ToString(out.Content)), &doc); err != nil {
			return nil, fmt.Errorf("the preferences cannot be read: %w", err)
		}
		switch {
		case doc.Inputs.Bucket != "":
			return []Finding{pass(s.Region, "to bucket %s", doc.Inputs.Bucket)}, nil
		case doc.Inputs.Group != "":
			return []Finding{pass(s.Region, "to log group %s", doc.Inputs.Group)}, nil
		}
		return []Finding{fail(s.Region, "the preferences name neither a bucket nor a log group")}, nil
	},
}
