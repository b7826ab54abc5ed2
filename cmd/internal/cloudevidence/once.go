package cloudevidence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// How often something is asked for, and how long one answer may take: less than the whole, so that there is time to look for what was made.
const (
	askTries = 5
	askTime  = 30 * time.Second
)

// How often, and for how long, something is looked for whose answer did not come: EC2 shows what was made after some seconds.
const (
	madeLooks = 3
	madeTime  = 15 * time.Second
)

// errLost says that EC2 may have made what it was asked for.
var errLost = errors.New("EC2's answer was lost, and nothing was found of what it may have made")

// askOnce has the SDK repeat nothing by itself.
func askOnce(o *ec2.Options) { o.Retryer = aws.NopRetryer{} }

// once asks EC2 for something by a call without a token, so that a second call would make a second one. If no answer came, what was made is looked
// for before it is asked for again, and also when nobody has time any more; found reports whether it is there, and is told when it is asked for the
// last time. The error is errLost if it may have been made all the same.
func (s *snapper) once(ctx context.Context, ask func(context.Context) error, found func(ctx context.Context, last bool) bool) error {
	var err error
	lost := false
	for try := range askTries {
		if try > 0 {
			if serr := s.g.sleep(ctx, time.Second<<try); serr != nil {
				err = errors.Join(err, serr)
				break
			}
		}
		if err = s.ask(ctx, ask); err == nil {
			return nil
		}
		again := true
		switch awsconfig.Code(err) {
		case "", "InternalError", "Unavailable", "ServiceUnavailable": // it may have been done
			lost = true
			if s.made(ctx, found) {
				return nil
			}
		case "RequestLimitExceeded", "Throttling", "SnapshotCreationPerVolumeRateExceeded", "ConcurrentSnapshotLimitExceeded":
		default:
			again = false
		}
		if !again || ctx.Err() != nil {
			break
		}
	}
	if lost {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return err
}

func (s *snapper) ask(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, fmt.Errorf("it took more than %s", askTime))
	defer cancel()
	return ask(ctx)
}

func (s *snapper) made(ctx context.Context, found func(ctx context.Context, last bool) bool) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), madeTime)
	defer cancel()
	for n := range madeLooks {
		if s.g.sleep(ctx, 2*time.Second) != nil {
			return false
		}
		if found(ctx, n == madeLooks-1) {
			return true
		}
	}
	return false
}
