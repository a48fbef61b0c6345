"""Operations at MCUboot's serial recovery and Zephyr's SMP servers, whose ports ask nobody."""
