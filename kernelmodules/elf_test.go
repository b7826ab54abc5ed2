package kernelmodules_test

import "github.com/shotglass-ir/shotglass/kernelmodules/moduletest"

type fakeModule = moduletest.Fake

const (
	testRelease  = "6.1.0-56-cloud-amd64"
	testVermagic = testRelease + " SMP preempt mod_unload modversions "
)

var (
	lime     = moduletest.LiME
	limeInfo = moduletest.LiMEInfo
	sign     = moduletest.Sign
)
