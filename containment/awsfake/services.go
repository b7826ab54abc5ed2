package awsfake

// allServices are the services that answer, by the name that requests are signed for.
func (c *Cloud) allServices() map[string]*service {
	return map[string]*service{
		"iam":    c.iamService(),
		"lambda": c.lambdaService(),
		"sts":    c.stsService(),
	}
}
