package inventory

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// metadataPatience is how long the metadata service may take: it is on the same machine, or there is none.
const metadataPatience = time.Second

// Locate asks the instance metadata service where this program runs. Without an answer within a second it is
// no instance.
func Locate(ctx context.Context, cfg aws.Config) (h Here) {
	ctx, cancel := context.WithTimeout(ctx, metadataPatience)
	defer cancel()
	c := imds.NewFromConfig(cfg, func(o *imds.Options) { o.Retryer = aws.NopRetryer{} })
	get := func(path string) string {
		out, err := c.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
		if err != nil {
			return ""
		}
		defer out.Content.Close()
		b, err := io.ReadAll(io.LimitReader(out.Content, 1<<10))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	if h.Instance = get("instance-id"); h.Instance == "" {
		return h
	}
	if mac := get("mac"); mac != "" {
		h.VPC = get("network/interfaces/macs/" + mac + "/vpc-id")
	}
	return h
}
