package ec2connect

import "time"

// SetNow replaces the clock of a key that has been used.
func (k *Key) SetNow(now func() time.Time) { k.now = now }
