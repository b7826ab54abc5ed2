package awsfake

// allServices are the services that answer, by the name that requests are signed for.
func (c *Cloud) allServices() map[string]*service {
	return map[string]*service{
		"sts": c.stsService(),
	}
}
