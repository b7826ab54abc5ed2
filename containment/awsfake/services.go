package awsfake

// allServices are the services that answer, by the name that requests are signed for.
func (c *Cloud) allServices() map[string]*service {
	return map[string]*service{
		"autoscaling":          c.scalingService(),
		"cloudtrail":           trailService(),
		"ec2":                  c.ec2Service(),
		"elasticloadbalancing": c.balancingService(),
		"iam":                  c.iamService(),
		"lambda":               c.lambdaService(),
		"organizations":        organizationsService(),
		"ssm":                  managerService(),
		"sts":                  c.stsService(),
	}
}
