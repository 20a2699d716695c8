# A launch file, there so that a spec can name it.
