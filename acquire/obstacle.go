package acquire

import (
	"errors"

	"github.com/shotglass-ir/shotglass/transport"
)

// An Obstacle is the kind of thing that keeps a host from being captured, so that a fleet's can be counted. Step.Err has
// the reason in words.
type Obstacle string

// The obstacles.
const (
	ObstacleNone           Obstacle = ""
	ObstacleUnreachable    Obstacle = "unreachable"      // nobody answers, or no tunnel leads there
	ObstacleHostKeyUnknown Obstacle = "host_key_unknown" // nobody vouches for the key that it presents
	ObstacleHostKeyOther   Obstacle = "host_key_changed" // it presents another key than is on record, or a revoked one
	ObstacleLogin          Obstacle = "login_refused"    // no credential is accepted
	ObstacleGrant          Obstacle = "no_key_granted"   // the service that was to grant a key did not
	ObstacleSilent         Obstacle = "no_answer"        // it let us in, and did not answer a command in time
	ObstacleRoot           Obstacle = "no_root"          // sudo refuses, or wants a password
	ObstacleFacts          Obstacle = "unusable"         // what it says cannot be used, or it is not the machine that was meant
	ObstacleSource         Obstacle = "no_source"        // no LiME module fits or may be loaded, and /proc/kcore cannot be read
	ObstacleTime           Obstacle = "way_too_short"    // the way in ends before the image would be there
	ObstacleFreeze         Obstacle = "cannot_freeze"    // what was asked to be frozen cannot be
	ObstacleDestination    Obstacle = "destination"      // the folder or bucket takes no evidence
	ObstacleRoom           Obstacle = "no_room"          // the folder has too little room
)

// dialObstacle tells apart why nobody let us in.
func dialObstacle(err error) Obstacle {
	if key, ok := errors.AsType[*transport.HostKeyError](err); ok {
		if len(key.Want) > 0 || key.Revoked {
			return ObstacleHostKeyOther
		}
		return ObstacleHostKeyUnknown
	}
	if errors.Is(err, transport.ErrAuth) {
		return ObstacleLogin
	}
	if _, ok := errors.AsType[*transport.GrantError](err); ok {
		return ObstacleGrant
	}
	return ObstacleUnreachable
}

// factsObstacle tells apart why nothing is known of a host that let us in.
func factsObstacle(err error) Obstacle {
	if _, ok := errors.AsType[*errSudo](err); ok || errors.Is(err, errPrivilege) {
		return ObstacleRoot
	}
	return ObstacleFacts
}

// stop records which kind of obstacle an error is; nil stays nil. A host that did not answer in time is that, whatever it was asked.
func (s *Step) stop(o Obstacle, err error) error {
	if err == nil {
		return nil
	}
	if s.Obstacle = o; o != ObstacleUnreachable {
		if _, ok := errors.AsType[*errNoAnswer](err); ok {
			s.Obstacle = ObstacleSilent
		}
	}
	return err
}
