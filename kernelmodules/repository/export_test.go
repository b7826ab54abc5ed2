package repository

import "time"

// SetWait sets how long w waits before it tries again.
func (w *Web) SetWait(d time.Duration) { w.wait = d }

// OnStep has f called before each change of the disk; its error is that of the change.
func (d *FolderDepot) OnStep(f func(what string) error) { d.step = f }

// At makes a publication take place at another time.
func (o PublishOptions) At(now func() time.Time) PublishOptions {
	o.now = now
	return o
}
