from imprimatur.cli import main

main()
