package workstation

import (
	"fmt"
	"strings"
)

// maxUserData is what EC2 takes, before base64: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html.
const maxUserData = 16 << 10

// longestRegion is room for the name of any region.
const longestRegion = "us-isob-southeast-1"

// UserData is the instance's, as CloudFormation hands it over; without a region, with room for the longest.
func (t Terms) UserData(region string) string {
	if region == "" {
		region = longestRegion
	}
	_, text, _ := strings.Cut(Template, "          Fn::Sub: |\n")
	text, _, _ = strings.Cut(text, "\n  Volume1:\n")
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimPrefix(line, "            "))
	}
	script := strings.TrimRight(b.String(), "\n") + "\n"
	return strings.NewReplacer("${ToolSums}", t.ToolSums, "${Bucket}", t.Bucket, "${Prefix}", t.Prefix, "${AWS::Region}", region).Replace(script)
}

// fits is nil if EC2 takes the user data.
func (t Terms) fits() error {
	if n := len(t.UserData("")); n > maxUserData {
		return fmt.Errorf("with a prefix of %d bytes and the digests of %d tools, what the first boot runs has %d bytes, and EC2 takes %d: put wheels into fewer files, or take a shorter prefix",
			len(t.Prefix), strings.Count(t.ToolSums, "\n"), n, maxUserData)
	}
	return nil
}
