package awsfake

// allServices are the services that answer, by the name that requests are signed for.
func (c *Cloud) allServices() map[string]*service {
	return map[string]*service{
		"autoscaling":          with(c.scalingService(), scalingGroupOps),
		"cloudformation":       formationService(),
		"cloudtrail":           with(trailService(), trailOps),
		"config":               recorderService(),
		"ec2":                  with(c.ec2Service(), prefixListOps),
		"ec2-instance-connect": connectService(),
		"eks":                  clusterService(),
		"elasticloadbalancing": with(c.balancingService(), balancerOps),
		"guardduty":            detectorService(),
		"iam":                  with(c.iamService(), reportOps),
		"kms":                  c.kmsService(),
		"lambda":               c.lambdaService(),
		"logs":                 logsService(),
		"network-firewall":     firewallService(),
		"organizations":        organizationsService(),
		"rds":                  databaseService(),
		"route53resolver":      resolverService(),
		"s3":                   c.bucketService(),
		"ssm":                  with(managerService(), documentOps),
		"sts":                  c.stsService(),
		"wafv2":                webService(),
	}
}
